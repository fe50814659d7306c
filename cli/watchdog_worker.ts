// The thread that watches over a rank. Started by job.ts.

/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

import { watch } from "../train/parallel/watchdog.ts";
import { printError } from "./output.ts";

watch(self, printError);
