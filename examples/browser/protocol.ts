// What the page and its worker say to each other. Pictures travel as bytes, whose memory is handed over.

/** Width and height in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** An image of 8-bit RGB, row by row. */
export interface Picture extends Size {
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Which street to draw: of which domain, and whether one that trainings see. */
export interface StreetName {
  readonly domain: "source" | "target";
  readonly split: "train" | "val" | "choose";
  readonly index: number;
}

/** A street and the class of each of its pixels. */
export interface Street {
  readonly image: Picture;
  readonly label: Uint8Array<ArrayBuffer>;
}

/** The networks that come with the page. */
export const SHIPPED = ["source", "warmup", "stage1", "stage3"] as const;
/** One of them, the one that the page has adapted, or one that a visitor has opened. */
export type NetworkName = typeof SHIPPED[number] | "here" | "own";

/** What a network predicts. */
export interface Classes {
  readonly names: readonly string[];
  readonly palette: readonly (readonly [number, number, number])[];
  /** The number that each class has in a label file. */
  readonly labelIds: readonly number[];
}

/** An opened network. */
export interface NetworkInfo {
  readonly classes: Classes;
  readonly stage: string;
  readonly step: number;
}

/** Scores in percent. */
export interface Scores {
  readonly mIoU: number;
  /** null for a class that is neither labelled nor predicted. */
  readonly classIoU: readonly (number | null)[];
  readonly pixelAccuracy: number;
}

/** Classes of pixels, and how sure they are. */
export interface ClassMap extends Size {
  /** A class a pixel. */
  readonly labels: Uint8Array<ArrayBuffer>;
  /** The probability of that class, 255 for 1. */
  readonly confidence: Uint8Array<ArrayBuffer>;
}

/** What to look at, and through which network. */
export interface LookRequest {
  readonly network: NetworkName;
  readonly image: Picture;
  /** To score the prediction by. */
  readonly label: Uint8Array<ArrayBuffer> | null;
}

/** What a network makes of an image. */
export interface Look {
  /** As large as a screen wants it: the network's logits are interpolated, and then decided. */
  readonly shown: ClassMap;
  /** At the image's own size, as the program writes it. */
  readonly labels: Uint8Array<ArrayBuffer>;
  readonly scores: Scores | null;
  readonly milliseconds: number;
}

/** How stage 1 would label an image, at a quarter of its size. */
export interface Teaching {
  /** What the warm-up network says: the pseudo label before denoising. */
  readonly pseudo: ClassMap;
  /** The class whose prototype is nearest, and the softmax of distances. */
  readonly assigned: ClassMap;
  /** Both multiplied. */
  readonly denoised: ClassMap;
  /** Shares of right pixels in percent, in the same order; null without a label. */
  readonly accuracy: readonly [number, number, number] | null;
  /** Target streets that the prototypes are of. */
  readonly prototypeImages: number;
}

/** The adapter of this browser. */
export interface AdapterInfo {
  readonly name: string;
  /** Whether it is a processor that plays a GPU. */
  readonly isSoftware: boolean;
}

/** How a training is asked for. */
export interface TrainingRequest {
  readonly seed: number;
  /** All steps of the preset, or a few that a software adapter makes in a minute or two. */
  readonly length: "full" | "short";
}

/** The pictures and scores of a training at one moment. */
export interface Snapshot {
  /** Steps of all stages so far. */
  readonly steps: number;
  /** Predictions of the shown streets. */
  readonly shown: readonly ClassMap[];
  /** Their scores, each by itself. */
  readonly shownScores: readonly number[];
  /** mIoU over the held-back streets. */
  readonly mIoU: number;
  /** The labels that stage 1 learns of training streets; null before it. */
  readonly labels: LearntLabels | null;
}

/** Labels of target streets that a training makes itself: how right they are, and those of one street. */
export interface LearntLabels {
  /** Share of right pixels in percent, over some streets: of the pseudo labels. */
  readonly pseudo: number;
  /** Of the denoised ones. */
  readonly denoised: number;
  /** One of the streets. */
  readonly example: Street;
  /** Its labels, at its size. */
  readonly examplePseudo: Uint8Array<ArrayBuffer>;
  /** The same. */
  readonly exampleDenoised: Uint8Array<ArrayBuffer>;
}

/** What a training tells as it goes. */
export type TrainingEvent =
  | {
    readonly kind: "begin";
    readonly stages: readonly {
      readonly name: string;
      readonly steps: number;
    }[];
    /** Streets that the score is of, and that are shown. */
    readonly heldBack: number;
    readonly shown: readonly Street[];
    /** Streets of each domain that it learns from. */
    readonly images: number;
  }
  | { readonly kind: "doing"; readonly text: string }
  | {
    readonly kind: "step";
    readonly stage: string;
    readonly step: number;
    readonly losses: Readonly<Record<string, number>>;
    readonly stepsPerSecond: number;
    readonly bytes: number;
  }
  | { readonly kind: "snapshot"; readonly snapshot: Snapshot }
  | { readonly kind: "end" }
  | { readonly kind: "failed"; readonly message: string };

/** What the worker does when it is asked: argument and answer of every call. */
export interface Calls {
  open: {
    asks: { /** Where the page lies. */ readonly base: string };
    answers: AdapterInfo;
  };
  street: { asks: StreetName; answers: Street };
  look: { asks: LookRequest; answers: Look };
  teach: { asks: Omit<LookRequest, "network">; answers: Teaching };
  openNetwork: {
    asks: { readonly bytes: Uint8Array<ArrayBuffer>; readonly name: string };
    answers: NetworkInfo;
  };
  train: { asks: TrainingRequest; answers: null };
  pause: { asks: boolean; answers: null };
  reset: { asks: null; answers: null };
}

/** A call on its way to the worker. */
export interface Request<N extends keyof Calls = keyof Calls> {
  readonly id: number;
  readonly name: N;
  readonly argument: Calls[N]["asks"];
}

/** What comes back. */
export type Reply =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly event: TrainingEvent };
