// Export: a trained network as an ONNX file.

import { deepLabGraph } from "../../nn/deeplab_onnx.ts";
import { OnnxSizeError } from "../../nn/formats/onnx.ts";
import { AtomicFile } from "../base/atomic_file.ts";
import { DataError } from "../base/data_error.ts";
import { checkOther } from "../base/real_path.ts";
import { openNetwork } from "./trained_network.ts";
import { weightsFault } from "./weights_fault.ts";

/** How to write the file. */
export interface ExportOptions {
  /** Size of the images; without it, each run of the file decides. */
  readonly size?: { readonly height: number; readonly width: number } | undefined;
  /** A configuration file for weights from elsewhere. */
  readonly configPath?: string | undefined;
}

/**
 * Writes the network of a checkpoint or of weights from elsewhere; the names of the classes and the
 * size it was trained at go into the file's metadata. The path shows either the old or the whole
 * new file.
 *
 * @returns Bytes of the file, and the number of classes.
 * @throws {DataError} If the network cannot be read or the file cannot be written.
 */
export function writeOnnx(
  path: string,
  output: string,
  { size, configPath }: ExportOptions = {},
): { bytes: number; classes: number } {
  checkOther(path, output);
  using source = openNetwork(path, configPath);
  const { network, state, classes, config, stage } = source;
  const metadata = {
    classes: JSON.stringify(classes.names),
    longSide: `${config.data.longSide}`,
    stage,
  };
  let bytes = 0;
  try {
    const graph = deepLabGraph({ network, state, size });
    using file = new AtomicFile(output);
    for (const part of graph.parts(metadata)) {
      file.write(part);
      bytes += part.length;
    }
    file.commit();
  } catch (error) {
    if (error instanceof OnnxSizeError) {
      throw new DataError(`${error.message}; give a smaller network than that of ${path}`, {
        cause: error,
      });
    }
    throw weightsFault(path, error, `give a checkpoint of a whole network, not ${path}`);
  }
  return { bytes, classes: classes.names.length };
}
