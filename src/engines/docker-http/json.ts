/** The parts of dockerd's JSON that nap reads and writes (API 1.41 to 1.48). */

export type StringMap = Record<string, string>;

/** A container's portable configuration. */
export interface ConfigJson {
  Image?: string;
  Cmd?: string[] | null;
  Entrypoint?: string[] | null;
  Env?: string[] | null;
  WorkingDir?: string;
  User?: string;
  Hostname?: string;
  Domainname?: string;
  MacAddress?: string;
  Labels?: StringMap | null;
  Tty?: boolean;
  OpenStdin?: boolean;
  StdinOnce?: boolean;
  StopSignal?: string;
  StopTimeout?: number;
  ExposedPorts?: Record<string, object> | null;
  Volumes?: Record<string, object> | null;
  Healthcheck?: HealthJson | null;
}

export interface HealthJson {
  Test?: string[] | null;
  Interval?: number;
  Timeout?: number;
  StartPeriod?: number;
  StartInterval?: number;
  Retries?: number;
}

export interface PortBindingJson {
  HostIp?: string;
  HostPort?: string;
}

export interface UlimitJson {
  Name: string;
  Soft: number;
  Hard: number;
}

export interface BlkioRateJson {
  Path: string;
  Rate: number;
}

export interface BlkioWeightJson {
  Path: string;
  Weight: number;
}

export interface DeviceRequestJson {
  Driver?: string;
  /** -1 is all. */
  Count?: number;
  DeviceIDs?: string[] | null;
  Capabilities?: string[][] | null;
  Options?: StringMap | null;
}

export interface DeviceJson {
  PathOnHost: string;
  PathInContainer: string;
  CgroupPermissions: string;
}

/** A container's configuration that depends on the host. */
export interface HostConfigJson {
  Binds?: string[] | null;
  Mounts?: MountJson[] | null;
  Tmpfs?: StringMap | null;
  VolumesFrom?: string[] | null;
  NetworkMode?: string;
  PortBindings?: Record<string, PortBindingJson[] | null> | null;
  PublishAllPorts?: boolean;
  Annotations?: StringMap | null;
  VolumeDriver?: string;
  Dns?: string[] | null;
  DnsSearch?: string[] | null;
  DnsOptions?: string[] | null;
  ExtraHosts?: string[] | null;
  Links?: string[] | null;
  RestartPolicy?: { Name: string; MaximumRetryCount?: number };
  AutoRemove?: boolean;
  LogConfig?: { Type?: string; Config?: StringMap | null };
  Init?: boolean | null;
  Privileged?: boolean;
  CapAdd?: string[] | null;
  CapDrop?: string[] | null;
  SecurityOpt?: string[] | null;
  GroupAdd?: string[] | null;
  ReadonlyRootfs?: boolean;
  PidMode?: string;
  IpcMode?: string;
  UTSMode?: string;
  UsernsMode?: string;
  CgroupnsMode?: string;
  CgroupParent?: string;
  Runtime?: string;
  ShmSize?: number;
  Sysctls?: StringMap | null;
  StorageOpt?: StringMap | null;
  MaskedPaths?: string[] | null;
  ReadonlyPaths?: string[] | null;
  BlkioWeight?: number;
  BlkioWeightDevice?: BlkioWeightJson[] | null;
  BlkioDeviceReadBps?: BlkioRateJson[] | null;
  BlkioDeviceWriteBps?: BlkioRateJson[] | null;
  BlkioDeviceReadIOps?: BlkioRateJson[] | null;
  BlkioDeviceWriteIOps?: BlkioRateJson[] | null;
  OomScoreAdj?: number;
  Ulimits?: UlimitJson[] | null;
  Devices?: DeviceJson[] | null;
  DeviceCgroupRules?: string[] | null;
  DeviceRequests?: DeviceRequestJson[] | null;
  Memory?: number;
  MemorySwap?: number;
  MemoryReservation?: number;
  MemorySwappiness?: number | null;
  KernelMemory?: number;
  KernelMemoryTCP?: number;
  OomKillDisable?: boolean | null;
  NanoCpus?: number;
  CpuShares?: number;
  CpuPeriod?: number;
  CpuQuota?: number;
  CpuRealtimePeriod?: number;
  CpuRealtimeRuntime?: number;
  CpusetCpus?: string;
  CpusetMems?: string;
  PidsLimit?: number | null;
}

export interface MountJson {
  Type: "bind" | "volume" | "tmpfs" | "image";
  Source?: string;
  Target: string;
  ReadOnly?: boolean;
  BindOptions?: {
    Propagation?: string;
    NonRecursive?: boolean;
    CreateMountpoint?: boolean;
    ReadOnlyNonRecursive?: boolean;
    ReadOnlyForceRecursive?: boolean;
  };
  VolumeOptions?: {
    NoCopy?: boolean;
    Subpath?: string;
    Labels?: StringMap | null;
    DriverConfig?: { Name?: string; Options?: StringMap | null };
  };
  /** Each of the options is a name, or a name and a value. */
  TmpfsOptions?: { SizeBytes?: number; Mode?: number; Options?: string[][] | null };
  ImageOptions?: { Subpath?: string };
}

export interface EndpointJson {
  IPAMConfig?: { IPv4Address?: string; IPv6Address?: string; LinkLocalIPs?: string[] } | null;
  Links?: string[] | null;
  Aliases?: string[] | null;
  DriverOpts?: StringMap | null;
  MacAddress?: string;
  GwPriority?: number;
  NetworkID?: string;
  IPAddress?: string;
  IPPrefixLen?: number;
  Gateway?: string;
  GlobalIPv6Address?: string;
  GlobalIPv6PrefixLen?: number;
  IPv6Gateway?: string;
}

export interface CreateBodyJson extends ConfigJson {
  HostConfig: HostConfigJson;
  NetworkingConfig?: { EndpointsConfig: Record<string, EndpointJson> };
}

export interface StateJson {
  Status: string;
  Running: boolean;
  Paused: boolean;
  OOMKilled: boolean;
  Pid: number;
  ExitCode: number;
  Error: string;
  StartedAt: string;
  FinishedAt: string;
  Health?: {
    Status: string;
    FailingStreak?: number;
    Log?: readonly HealthResultJson[] | null;
  };
}

export interface HealthResultJson {
  Start: string;
  End: string;
  ExitCode: number;
  Output: string;
}

/** A mount as inspect and list report it. */
export interface MountPointJson {
  Type: string;
  Name?: string;
  Source: string;
  Destination: string;
  Driver?: string;
  RW: boolean;
  Propagation?: string;
}

export interface ContainerJson {
  Id: string;
  Name: string;
  Created: string;
  Image: string;
  RestartCount: number;
  SizeRw?: number;
  SizeRootFs?: number;
  State: StateJson;
  Config: ConfigJson;
  HostConfig: HostConfigJson;
  Mounts: MountPointJson[];
  NetworkSettings: {
    Ports: Record<string, PortBindingJson[] | null> | null;
    Networks: Record<string, EndpointJson>;
  };
}

export interface ContainerSummaryJson {
  Id: string;
  Names: string[];
  Image: string;
  ImageID: string;
  Created: number;
  State: string;
  Status: string;
  Labels: StringMap | null;
  Ports: { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[];
  Mounts: MountPointJson[];
  NetworkSettings: { Networks: Record<string, EndpointJson> } | null;
}

/** The request to create a volume. */
export interface VolumeSpecJson {
  Driver: string;
  DriverOpts: StringMap;
  Labels: StringMap;
}

export interface VolumeJson {
  Name: string;
  Driver: string;
  Mountpoint: string;
  CreatedAt?: string;
  Labels: StringMap | null;
  Options: StringMap | null;
  Scope: string;
  Status?: Record<string, unknown>;
}

/** The request to create a network. */
export interface NetworkSpecJson {
  Driver: string;
  Scope?: string;
  EnableIPv6: boolean;
  EnableIPv4?: boolean;
  Internal: boolean;
  Attachable: boolean;
  Ingress?: boolean;
  ConfigOnly?: boolean;
  ConfigFrom?: { Network: string };
  Options: StringMap | null;
  Labels: StringMap | null;
  IPAM?: IpamJson;
}

export interface IpamJson {
  Driver: string;
  Options: StringMap | null;
  Config: IpamPoolJson[] | null;
}

export interface NetworkJson extends NetworkSpecJson {
  Id: string;
  Name: string;
  Created: string;
  Containers?: Record<
    string,
    {
      Name: string;
      EndpointID: string;
      MacAddress: string;
      IPv4Address: string;
      IPv6Address: string;
    }
  >;
}

export interface IpamPoolJson {
  Subnet?: string;
  IPRange?: string;
  Gateway?: string;
  AuxiliaryAddresses?: StringMap | null;
}

export interface ImageSummaryJson {
  Id: string;
  ParentId: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Created: number;
  Size: number;
  Labels: StringMap | null;
}

export interface ImageJson {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Parent: string;
  Comment: string;
  Created: string;
  Author: string;
  Architecture: string;
  Variant?: string;
  Os: string;
  Size: number;
  Config: ConfigJson | null;
  RootFS: { Layers?: string[] | null };
}

export interface EventJson {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: StringMap | null };
  time: number;
}

export interface ExecJson {
  ContainerID: string;
  ProcessConfig: { tty: boolean };
  Running: boolean;
  ExitCode: number | null;
  Pid: number;
}

export interface VersionJson {
  Version: string;
  ApiVersion: string;
  MinAPIVersion: string;
  Os: string;
  Arch: string;
}

export interface InfoJson {
  Name: string;
  SystemTime: string;
  OperatingSystem: string;
  OSType: string;
  Architecture: string;
  KernelVersion: string;
  NCPU: number;
  MemTotal: number;
  CgroupDriver: string;
  CgroupVersion?: string;
  Driver: string;
  DockerRootDir: string;
  LoggingDriver: string;
  Runtimes: Record<string, object> | null;
  DefaultRuntime: string;
  SecurityOptions: string[] | null;
  Plugins: { Volume: string[] | null; Network: string[] | null; Log: string[] | null };
  Warnings: string[] | null;
  MemoryLimit: boolean;
  SwapLimit: boolean;
  PidsLimit: boolean;
  OomKillDisable?: boolean;
  CPUShares?: boolean;
  CPUSet?: boolean;
  CpuCfsPeriod?: boolean;
  CpuCfsQuota?: boolean;
  /** Pairs, such as ["Backing Filesystem", "xfs"]. */
  DriverStatus?: string[][] | null;
}
