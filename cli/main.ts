// The program that every task runs: `deno run cli/main.ts COMMAND`.

import { runProgram } from "./program.ts";

Deno.exit(await runProgram(Deno.args));
