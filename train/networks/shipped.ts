// The networks that come with the project. Where they lie is said here and nowhere else.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { MANIFEST, type NetworkManifest, type PackedNetwork } from "./manifest.ts";

/** Beside the code, from whatever folder that is run. */
const FOLDER = new URL("../../networks/streets/", import.meta.url);

/** A network that comes with the project. */
export interface ShippedNetwork extends PackedNetwork {
  /** Where its file lies. */
  readonly path: string;
}

/**
 * The networks that come with the project, of the built-in benchmark, in the order of their stages: the
 * first has learnt the source alone, the last is that of the last stage.
 *
 * @throws {DataError} If they do not lie beside the code.
 */
export function shippedNetworks(): [ShippedNetwork, ...ShippedNetwork[]] {
  if (FOLDER.protocol !== "file:") {
    throw missing(FOLDER.href, "the code was loaded from there and the networks were not");
  }
  const folder = fileURLToPath(FOLDER);
  let manifest: NetworkManifest;
  try {
    manifest = JSON.parse(Deno.readTextFileSync(join(folder, MANIFEST)));
  } catch (error) {
    throw missing(join(folder, MANIFEST), describeFailure(error), error);
  }
  const [first, ...others] = manifest.networks.map((network) => ({
    ...network,
    path: join(folder, network.file),
  }));
  return [first, ...others];
}

/** The network of the last stage. @throws {DataError} As {@link shippedNetworks}. */
export function lastShippedNetwork(): ShippedNetwork {
  const networks = shippedNetworks();
  return networks[networks.length - 1];
}

function missing(where: string, reason: string, cause?: unknown): DataError {
  return new DataError(
    `Cannot find the networks that come with the project at ${where} as ${reason}: expected a clone of ` +
      `the repository; name a network of your own`,
    { options: ["checkpoint"], cause },
  );
}
