/** The version of this project, as in deno.json, which a program that has imported it need not have. */
export const VERSION = "0.1.0";
