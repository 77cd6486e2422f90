/** The cases of all options of a container. */
import type { ConformanceTest } from "../case.js";
import { lifecycleOptions } from "./lifecycle.js";
import { networkOptions } from "./network.js";
import { optionTest } from "./option.js";
import { processOptions } from "./process.js";
import { resourceOptions } from "./resources.js";
import { securityOptions } from "./security.js";
import { storageOptions } from "./storage.js";

export function optionCases(test: ConformanceTest): void {
  const option = optionTest(test);
  processOptions(option);
  resourceOptions(option);
  networkOptions(option);
  storageOptions(option);
  securityOptions(option);
  lifecycleOptions(option);
}
