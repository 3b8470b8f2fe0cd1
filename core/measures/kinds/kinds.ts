import { z } from "zod";
import type { Sql } from "../../contract/sql.ts";
import type { Measure, MeasureSpec } from "../measure.ts";
import type { NumberOptions } from "../scale-option.ts";
import { avg } from "./avg.ts";
import { count } from "./count.ts";
import { distinct } from "./distinct.ts";
import { max, min } from "./extremes.ts";
import { histogram } from "./histogram.ts";
import { first, last } from "./picks.ts";
import { quantile } from "./quantile.ts";
import { ratio } from "./ratio.ts";
import { sum } from "./sum.ts";
import { topK } from "./top-k.ts";

const text = z.string().transform((written) => ({ text: written }));
const unit = z.string();
const ofOne = z.object({ of: text, unit, scale: z.int().optional() });

/** The function that makes each kind of measure from its specification. */
const KINDS: Readonly<Record<string, (spec: MeasureSpec) => Measure>> = {
  avg: (spec) => one(avg, spec),
  count: (spec) => {
    const { where, unit: named } = z.object({ where: text.optional(), unit }).parse(spec);
    return count({ unit: named, ...(where === undefined ? {} : { where }) });
  },
  distinct: (spec) => one(distinct, spec),
  first: (spec) => one(first, spec),
  histogram: (spec) => {
    const { of, ...options } = ofOne.extend({ edges: z.array(z.int()) }).parse(spec);
    return histogram(of, options);
  },
  last: (spec) => one(last, spec),
  max: (spec) => one(max, spec),
  min: (spec) => one(min, spec),
  quantile: (spec) => {
    const { of, ...options } = ofOne.extend({ error: z.number(), at: z.array(z.number()) }).parse(spec);
    return quantile(of, options);
  },
  ratio: (spec) => {
    const inner = z.looseObject({ kind: z.string() });
    const { top, bottom, unit: named } = z.object({ top: inner, bottom: inner, unit }).parse(spec);
    return ratio(measureFrom(top), measureFrom(bottom), { unit: named });
  },
  sum: (spec) => one(sum, spec),
  topK: (spec) => {
    const { of, weight, ...options } = ofOne.extend({ weight: text.nullable(), show: z.int() }).parse(spec);
    return topK(of, { ...options, ...(weight === null ? {} : { weight }) });
  },
};

/**
 * Returns the measure of a specification. Throws RangeError for a kind that this version does not know, and if its
 * builder refuses it.
 */
export function measureFrom(spec: MeasureSpec): Measure {
  const build = KINDS[spec.kind];
  if (build === undefined) throw new RangeError(`there is no measure of kind "${spec.kind}"`);
  const measure = build(spec);
  if (measure.problem !== undefined) throw new RangeError(measure.problem);
  return measure;
}

function one(build: (of: Sql, options: NumberOptions) => Measure, spec: MeasureSpec): Measure {
  const { of, ...options } = ofOne.parse(spec);
  return build(of, options);
}
