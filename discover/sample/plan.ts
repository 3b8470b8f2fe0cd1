import { at, type Cut, type Position, position } from "../../core/log/position.ts";

/** A span of one partition. */
export interface SampleSpan {
  readonly partition: number;
  readonly from: Position;
  readonly to: Position;
}

/**
 * Returns the spans to read for a sample of about this many records: the same number from every partition, as far as it
 * has them, half of it from the beginning of the log and half from its end. With `beginning`, all of it is from the
 * beginning.
 */
export function planSample(start: Cut, stable: Cut, wanted: number, beginning: boolean): SampleSpan[] {
  const sizes = [...stable.keys()]
    .map((partition) => ({ partition, size: Number(at(stable, partition) - at(start, partition)) }))
    .sort((a, b) => a.size - b.size);
  let left = wanted;
  const shares = sizes.map(({ partition, size }, index) => {
    const share = Math.min(size, Math.ceil(left / (sizes.length - index)));
    left -= share;
    return { partition, size, share };
  });
  return shares.flatMap(({ partition, size, share }) => {
    const [from, to] = [at(start, partition), at(stable, partition)];
    const first = BigInt(beginning || share === size ? share : Math.ceil(share / 2));
    const last = BigInt(share) - first;
    return [
      { partition, from, to: position(from + first) },
      { partition, from: position(to - last), to },
    ].filter((span) => span.to > span.from);
  });
}
