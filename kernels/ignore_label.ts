// The one number that kernels, losses and data sets must agree on.

/**
 * The label of pixels that no loss and no score counts, unless a call says otherwise: the largest
 * byte, as in the label files of Cityscapes, so that classes take the ids below it.
 */
export const IGNORE = 255;
