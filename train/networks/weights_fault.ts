// What is wrong with weights that a user gives, in a sentence.

import { SeveralNetworksError } from "../../nn/pretrained.ts";
import {
  WeightsFileError,
  WeightsMismatchError,
  WeightsValueError,
} from "../../nn/formats/weights_error.ts";
import { DataError, shortList } from "../base/data_error.ts";

/** Weights that cannot be read. */
export function unreadable(path: string, reason: string, cause: unknown): DataError {
  return new DataError(
    `Cannot read weights ${path} as ${reason}; give a safetensors file or what torch.save makes of a state dict`,
    { cause },
  );
}

/**
 * What is wrong with a user's weights, as a {@link DataError}; any other error as it is.
 *
 * @param wayOut Where weights do not fit, for the end of the sentence.
 */
export function weightsFault(path: string, error: unknown, wayOut?: string): unknown {
  if (error instanceof WeightsFileError) return unreadable(path, error.reason, error);
  if (error instanceof WeightsValueError) {
    return new DataError(
      `Cannot use weights ${path} as ${error.reason}: expected finite numbers; ` +
        `give weights of a training that has not diverged`,
      { cause: error },
    );
  }
  if (!(error instanceof WeightsMismatchError)) return error;
  const sentence = error instanceof SeveralNetworksError
    ? `Cannot use weights ${path} as they hold several networks, under ${
      shortList(error.prefixes)
    }; make a file of one of them: convert takes its name as the option "only"`
    : wayOut === undefined
    ? error.message
    : `${error.message}; ${wayOut}`;
  const [line, ...rows] = sentence.split("\n");
  return new DataError(line, { rows, cause: error });
}
