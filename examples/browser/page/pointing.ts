// Pointing at a picture, by a pointer or by the arrow keys.

/** Steps of the arrow keys, as shares of the picture. */
const STEPS: Readonly<Record<string, readonly [x: number, y: number]>> = {
  ArrowLeft: [-0.02, 0],
  ArrowRight: [0.02, 0],
  ArrowUp: [0, -0.04],
  ArrowDown: [0, 0.04],
};

/** Tells at which place of a canvas someone points, from 0 to below 1 each way; null for none. */
export function listenToPointing(
  canvas: HTMLCanvasElement,
  onPoint: (place: { readonly x: number; readonly y: number } | null) => void,
): void {
  const point = ({ clientX, clientY }: PointerEvent) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    onPoint({ x: inside((clientX - left) / width), y: inside((clientY - top) / height) });
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointerleave", () => onPoint(null));
  let [x, y] = [0.5, 0.6];
  canvas.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    [x, y] = [inside(x + step[0]), inside(y + step[1])];
    onPoint({ x, y });
  });
  canvas.addEventListener("blur", () => onPoint(null));
}

function inside(share: number): number {
  return Math.min(0.9999, Math.max(0, share));
}
