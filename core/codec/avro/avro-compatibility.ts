import avsc, { type Type } from "avsc";
import type { Compatibility } from "../../contract/stream.ts";
import { typeOf } from "./avro.ts";

const { types } = avsc;

/**
 * Returns how a new version's schema breaks its stream's compatibility rule with the version before: one sentence per
 * field. Backward: the new schema must read what the old one wrote. Forward: the old one must read what the new one
 * writes.
 */
export function incompatibilities(newer: string, older: string, rule: Compatibility): string[] {
  const [next, last] = [typeOf(newer), typeOf(older)];
  const backward = rule === "backward" || rule === "full" ? unreadable(next, last) : [];
  const forward = rule === "forward" || rule === "full" ? unreadable(last, next) : [];
  return [
    ...backward.map((problem) => `backward (the new version reads the old one's events): ${problem}`),
    ...forward.map((problem) => `forward (the old version reads the new one's events): ${problem}`),
  ];
}

/** Returns why `reader` cannot read data of `writer`, by Avro's rules of schema resolution. */
function unreadable(reader: Type, writer: Type): string[] {
  if (!(reader instanceof types.RecordType) || !(writer instanceof types.RecordType)) {
    const problem = resolution(reader, writer);
    return problem === null ? [] : [problem];
  }
  return reader.fields.flatMap((field) => {
    const written = writer.fields.find(({ name }) => name === field.name);
    const problem =
      written !== undefined
        ? resolution(field.type, written.type)
        : field.defaultValue() === undefined
          ? "is not there, and has no default"
          : null;
    return problem === null ? [] : [`field "${field.name}" ${problem}`];
  });
}

function resolution(reader: Type, writer: Type): string | null {
  try {
    reader.createResolver(writer);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
