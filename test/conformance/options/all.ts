/** The cases of all options of a container. */
import type { Case } from "../bench.js";
import { lifecycleOptions } from "./lifecycle.js";
import { networkOptions } from "./network.js";
import { caseOf } from "./option.js";
import { processOptions } from "./process.js";
import { resourceOptions } from "./resources.js";
import { securityOptions } from "./security.js";
import { storageOptions } from "./storage.js";

export const optionCases: readonly Case[] = [
  ...processOptions,
  ...resourceOptions,
  ...networkOptions,
  ...storageOptions,
  ...securityOptions,
  ...lifecycleOptions,
].map(caseOf);
