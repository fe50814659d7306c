// Digests that any host computes.

/** The SHA-256 of arrays, one after the other, in hexadecimal. */
export async function sha256(...parts: Uint8Array[]): Promise<string> {
  const bytes = await new Blob(parts.map((part) => part.slice())).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
