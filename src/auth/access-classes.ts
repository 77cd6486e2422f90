/**
 * The fields of a request that are privileged: an identity that may set them can reach beyond the
 * container, to the host, other containers, or networks and directories of others.
 *
 * The table has one entry for each message that a request can hold. A field is in exactly one of the two
 * lists; `field=VALUE` gives one value of it the other class.
 */

/**
 * An ordinary field may be set by every identity that may call the method, a privileged one only by
 * identities with `privileged_options`.
 */
export type AccessClass = "ordinary" | "privileged";

/** The fields of one message by their class. */
interface Fields {
  readonly ordinary?: string;
  readonly privileged?: string;
}

/**
 * The capabilities that Docker gives every container by default; a container that drops all may add them
 * again.
 */
const defaultCapabilities =
  `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE
   SYS_CHROOT KILL AUDIT_WRITE`.split(/\s+/);

const listed = "engine page_size page_token view";

const messages: Readonly<Record<string, Fields>> = {
  // A container's spec.
  ContainerSpec: {
    ordinary: `image kind environment unset_environment working_dir user additional_groups hostname domainname labels tty
      stdin_open stdin_once init stop_signal stop_timeout auto_remove shm_size_bytes
      read_only_root_filesystem`,
    // The mounts of another container may be any; the effect of annotations depends on the runtime.
    privileged: `annotations oom_score_adj volumes_from storage_options devices device_cgroup_rules
      device_requests sysctls cgroup_parent runtime lxc_config`,
  },
  RootFilesystemSource: { ordinary: "copy", privileged: "host_path" },
  // A template may be a script that the host runs as root, with the variables as its arguments.
  TemplateSource: { ordinary: "name", privileged: "server variables" },
  // A copy has every option of its source container.
  CopySource: { ordinary: "snapshot", privileged: "container" },
  ArgumentList: { ordinary: "arguments" },
  Platform: { ordinary: "os architecture variant" },
  RestartPolicy: { ordinary: "mode maximum_retry_count" },
  HealthCheck: {
    ordinary: "disabled shell_command interval timeout start_period start_interval retries",
  },
  // Other drivers, and most options, name addresses and files of the host.
  LogConfig: {
    ordinary: "driver=json-file driver=local driver=none",
    privileged: "driver options",
  },
  Resources: {
    ordinary: `memory_limit_bytes swap_limit_bytes swap_unlimited
      memory_reservation_bytes memory_swappiness kernel_memory_limit_bytes
      kernel_memory_tcp_limit_bytes cpu_shares cpu_period_micros cpu_quota_micros
      cpuset_cpus cpuset_mems pids_limit_count pids_unlimited
      oom_kill_disabled=false`,
    // Realtime tasks starve the host's own, and memory that is never freed takes it from others.
    privileged: "oom_kill_disabled cpu_realtime_period_micros cpu_realtime_runtime_micros",
  },
  BlockIo: { ordinary: "weight" },
  BlockIoWeight: { ordinary: "device_path weight" },
  BlockIoByteRate: { ordinary: "device_path bytes_per_second" },
  BlockIoOperationRate: { ordinary: "device_path operations_per_second" },
  // The others, such as rtprio and nice, give precedence over the host's processes.
  Ulimit: {
    ordinary: `name=as name=core name=cpu name=data name=fsize name=locks name=memlock
      name=msgqueue name=nofile name=nproc name=rss name=sigpending name=stack`,
    privileged: "name",
  },
  UlimitValue: { ordinary: "amount unlimited" },
  NetworkConfig: { ordinary: "publish_all_ports dns_servers dns_searches dns_options" },
  // An engine that accepts a network mode as the name of a network would accept these.
  NetworkAttachment: { ordinary: "network", privileged: "network=host" },
  EndpointSettings: {
    ordinary: "aliases ipv4_address ipv6_address link_local_addresses mac_address gateway_priority",
    // Options can set sysctls of the interface.
    privileged: "driver_options",
  },
  ContainerLink: { ordinary: "container alias" },
  ExposedPort: { ordinary: "container_port protocol" },
  PortMapping: {
    ordinary: "container_port protocol host_address host_port host_port_range_end",
  },
  HostAlias: { ordinary: "hostname address host_gateway" },
  Mount: { ordinary: "target read_only" },
  // Mounts made below a source by the host, or by the container for the host, are not the client's.
  BindMount: {
    ordinary: `create_host_path non_recursive recursive_read_only
      propagation=MOUNT_PROPAGATION_PRIVATE propagation=MOUNT_PROPAGATION_RPRIVATE`,
    privileged: "host_path propagation selinux_relabel",
  },
  BindRootPath: { ordinary: "root path" },
  VolumeMount: { ordinary: "volume copy_image_content subpath" },
  // With options the driver "local" mounts any directory or device of the host.
  VolumeSpec: { ordinary: "labels driver=local", privileged: "driver driver_options" },
  // The runtime accepts an option such as "bind" or "rshared" for any mount.
  TmpfsMount: {
    ordinary: `size_bytes permissions options=noexec options=exec options=nosuid options=nodev
      options=noatime options=nodiratime options=relatime options=ro`,
    privileged: "options",
  },
  ImageMount: { ordinary: "image subpath" },
  Security: {
    ordinary: `capabilities_drop no_new_privileges privileged=false
      ${defaultCapabilities.map((name) => `capabilities_add=${name} capabilities_add=CAP_${name}`).join(" ")}`,
    // An engine may be configured to let no container gain privileges; false overrides that.
    privileged: `privileged capabilities_add seccomp_unconfined seccomp_profile apparmor_profile
      selinux_disabled selinux_label masked_paths read_only_paths no_new_privileges=false`,
  },
  Namespaces: {},
  Namespace: { privileged: "host container pod path" },
  // Mapped ids may be those of the host's users.
  IsolatedNamespace: { ordinary: "shareable without_shm", privileged: "uids gids" },

  // Networks. One with a subnet of the client's choice takes the host's traffic to those addresses.
  NetworkSpec: {
    ordinary: "labels internal attachable enable_ipv6 enable_ipv4 scope driver=bridge",
    privileged: `driver driver_options ingress scope=RESOURCE_SCOPE_GLOBAL config_only config_from`,
  },
  IpamConfig: {
    ordinary: "driver=default",
    privileged: "driver driver_options pools",
  },

  // Images.
  RegistryCredentials: { ordinary: "identity_token registry_token server_address" },
  RegistryLogin: { ordinary: "username password" },
  LoadImagesOpen: { ordinary: "engine" },
  ImportImageOpen: { ordinary: "engine reference message instructions" },
  // A build may use its own network or none.
  BuildImageOpen: {
    ordinary: `engine tags dockerfile build_arguments labels target no_cache pull cache_from extra_hosts
      memory_limit_bytes shm_size_bytes keep_intermediate network=none network=bridge
      network=default`,
    privileged: "network",
  },

  // Commands in containers.
  ExecSpec: {
    ordinary: "command environment working_dir user tty privileged=false",
    privileged: "privileged",
  },
  ExecOpen: { ordinary: "engine container stdin disconnect_action" },
  AttachOpen: { ordinary: "engine container stdin streams replay disconnect_action" },
  TerminalSize: { ordinary: "columns rows" },
  WriteArchiveOpen: { ordinary: "engine container path allow_type_change" },
  WriteArchiveClose: { ordinary: "size_bytes sha256" },

  // Filters.
  LabelFilter: { ordinary: "key value" },
  ContainerFilter: {
    ordinary: "ids names states health_statuses images networks volumes exit_codes created_before",
  },
  VolumeFilter: { ordinary: "names drivers unused created_before" },
  NetworkFilter: { ordinary: "ids names drivers scopes unused built_in created_before" },
  ImageFilter: {
    ordinary: "references untagged before_image since_image include_intermediate created_before",
  },
  EventFilter: { ordinary: "resources actions containers images volumes networks" },

  // Requests. Roles decide which methods an identity may call, see roles.ts.
  CreateContainerRequest: { ordinary: "engine name request_id pull_policy" },
  GetContainerRequest: { ordinary: "engine container include_size" },
  ListContainersRequest: { ordinary: listed },
  StartContainerRequest: { ordinary: "engine container" },
  StopContainerRequest: { ordinary: "engine container timeout stop_signal" },
  RestartContainerRequest: { ordinary: "engine container timeout stop_signal" },
  KillContainerRequest: { ordinary: "engine container signal" },
  PauseContainerRequest: { ordinary: "engine container" },
  UnpauseContainerRequest: { ordinary: "engine container" },
  RenameContainerRequest: { ordinary: "engine container new_name" },
  UpdateContainerRequest: { ordinary: "engine container clear" },
  RemoveContainerRequest: { ordinary: "engine container force remove_volumes" },
  PruneContainersRequest: { ordinary: "engine" },
  RunContainerRequest: { ordinary: "engine name request_id pull_policy disconnect_action" },
  WaitContainerRequest: { ordinary: "engine container condition" },
  WatchContainersRequest: { ordinary: "engine cursor" },
  StreamContainerLogsRequest: {
    ordinary: "engine container follow follow_restarts streams since until tail_lines cursor",
  },
  StreamContainerStatsRequest: { ordinary: "engine interval one_shot" },
  ListContainerProcessesRequest: { ordinary: "engine container page_size page_token" },
  ListContainerChangesRequest: { ordinary: "engine container page_size page_token" },
  CommitContainerRequest: {
    ordinary: "engine container reference message author pause instructions",
  },
  ExecContainerSyncRequest: {
    ordinary: "engine container stdin max_output_bytes disconnect_action",
  },
  ExecContainerRequest: { ordinary: "stdin close_stdin signal" },
  AttachContainerRequest: { ordinary: "stdin close_stdin signal" },
  ResizeContainerTerminalRequest: { ordinary: "engine container exec_id" },
  StatContainerPathRequest: { ordinary: "engine container path" },
  ReadContainerArchiveRequest: { ordinary: "engine container path" },
  WriteContainerArchiveRequest: { ordinary: "data" },
  ExportContainerRequest: { ordinary: "engine container" },
  CreateVolumeRequest: { ordinary: "engine name request_id" },
  GetVolumeRequest: { ordinary: "engine volume" },
  ListVolumesRequest: { ordinary: listed },
  RemoveVolumeRequest: { ordinary: "engine volume force" },
  PruneVolumesRequest: { ordinary: "engine include_named" },
  CreateNetworkRequest: { ordinary: "engine name request_id" },
  GetNetworkRequest: { ordinary: "engine network" },
  ListNetworksRequest: { ordinary: listed },
  RemoveNetworkRequest: { ordinary: "engine network" },
  PruneNetworksRequest: { ordinary: "engine" },
  ConnectContainerRequest: { ordinary: "engine container network", privileged: "network=host" },
  DisconnectContainerRequest: { ordinary: "engine container network force" },
  GetImageRequest: { ordinary: "engine image" },
  ListImagesRequest: { ordinary: listed },
  RemoveImageRequest: { ordinary: "engine image force keep_parents" },
  TagImageRequest: { ordinary: "engine image reference" },
  GetImageHistoryRequest: { ordinary: "engine image page_size page_token" },
  PruneImagesRequest: { ordinary: "engine include_tagged" },
  PullImageRequest: { ordinary: "engine image" },
  PushImageRequest: { ordinary: "engine image" },
  SaveImagesRequest: { ordinary: "engine images" },
  LoadImagesRequest: { ordinary: "data" },
  ImportImageRequest: { ordinary: "data" },
  BuildImageRequest: { ordinary: "data" },
  GetEngineRequest: { ordinary: "engine" },
  GetEngineCapabilitiesRequest: { ordinary: "engine" },
  GetDiskUsageRequest: { ordinary: "engine" },
  StreamEventsRequest: { ordinary: "engine since until cursor" },
};

/**
 * The class of each field by its full name, `nap.v1.Security.privileged`, and of values that are of
 * another class than their field, `nap.v1.Security.privileged=false`.
 */
export const accessClasses: ReadonlyMap<string, AccessClass> = new Map(
  Object.entries(messages).flatMap(([message, { ordinary = "", privileged = "" }]) => {
    const named = (text: string, kind: AccessClass): [string, AccessClass][] =>
      text
        .split(/\s+/)
        .flatMap((name) => (name === "" ? [] : [[`nap.v1.${message}.${name}`, kind]]));
    return [...named(ordinary, "ordinary"), ...named(privileged, "privileged")];
  }),
);
