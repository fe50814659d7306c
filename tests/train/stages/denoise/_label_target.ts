// The start of stage 1 as a run makes it: soft labels in a folder, from a data set of files.

import type { DeepLab } from "../../../../nn/deeplab.ts";
import { makeFolder } from "../../../../train/base/folders.ts";
import type { Dataset } from "../../../../train/data/dataset.ts";
import { Loader } from "../../../../train/data/loader.ts";
import {
  labelTarget,
  type LabelTargetOptions,
} from "../../../../train/stages/denoise/label_target.ts";
import type { PrototypeBank } from "../../../../train/stages/denoise/prototypes.ts";
import { SoftLabels } from "../../../../train/stages/denoise/soft_labels.ts";

export async function labelTargetInto(
  folder: string,
  network: DeepLab,
  dataset: Dataset,
  options: LabelTargetOptions,
): Promise<{ readonly softLabels: SoftLabels; readonly bank: PrototypeBank }> {
  makeFolder(folder);
  const softLabels = new SoftLabels(folder, { classes: network.classes });
  using images = new Loader({ dataset, order: "sequential" });
  return { softLabels, bank: await labelTarget(network, images, softLabels, options) };
}
