// Loaded before a program, which then takes the machine's adapter for a GPU.

import { pretend } from "../_adapter.ts";

pretend({ isFallback: false });
