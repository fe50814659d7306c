// What settings take, as plain data: a stage, or a section of the configuration, lists its settings once,
// `{ steps: "count", labels: ["hard", "soft"] } as const`, and the type and the check follow from that.

/**
 * The most that kinds take, beyond any use: what is larger would not be refused by the machine in a
 * sentence, but take all memory, or leave the integers.
 */
export const MOST = { blocks: 1000, images: 100_000, pixels: 65_536, scale: 1000 } as const;

/** What a setting can take, by the name of the kind. */
export interface SettingKinds {
  /** A whole number of at least 1. */
  count: number;
  /** A whole number of at least 0. */
  whole: number;
  /** A number of images: a whole number from 1 to {@link MOST}. */
  images: number;
  /** A length in pixels: a whole number from 16 to {@link MOST}. */
  pixels: number;
  /** A number above 0. */
  positive: number;
  /** A number of at least 0. */
  weight: number;
  /** A number from 0 to 1. */
  share: number;
  /** A number from 0 to below 1. */
  belowOne: number;
  /** True or false. */
  toggle: boolean;
  /** A path. */
  path: string;
  /** A path, or null for none. */
  optionalPath: string | null;
  /** Whole numbers of at least 1, at least one of them. */
  counts: number[];
  /** Four whole numbers from 1 to {@link MOST}: blocks of a network's layers. */
  fourCounts: number[];
  /** Two scales: numbers above 0, {@link MOST} at most, the least first. */
  range: [least: number, most: number];
  /** Names, each once, or null for none. */
  optionalNames: string[] | null;
}

/** What one setting takes: a kind, or one of some words. */
export type Setting = keyof SettingKinds | readonly string[];

/** Settings by name, in groups of any depth. */
export interface SettingTable {
  /** What a setting takes, or a group of settings. */
  readonly [name: string]: Setting | SettingTable;
}

/** The type of the settings that a table lists. */
export type SettingsOf<T> = {
  -readonly [K in keyof T]: T[K] extends keyof SettingKinds ? SettingKinds[T[K]]
    : T[K] extends readonly (infer Word)[] ? Word
    : SettingsOf<T[K]>;
};

/** Some of the keys of a configuration. */
export type Partially<T> = T extends readonly unknown[] ? T
  : T extends object ? { [K in keyof T]?: Partially<T[K]> | undefined }
  : T;
