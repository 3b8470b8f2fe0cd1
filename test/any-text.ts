import fc from "fast-check";

const FIRST_SURROGATE = 0xd800;
const SURROGATES = 0x800;
const CODE_POINTS = 0x11_0000;
const isSurrogate = (point: number) => point >= FIRST_SURROGATE && point < FIRST_SURROGATE + SURROGATES;

/**
 * A character of any code point, as fast-check's `unit: "binary"` has them: equal seeds give equal texts. That one
 * makes a table of a million characters when it is first used, which takes a second in each process.
 */
const anyCharacter = fc.nat(CODE_POINTS - SURROGATES - 1).map(
  (place) => String.fromCodePoint(place < FIRST_SURROGATE ? place : place + SURROGATES),
  (character) => {
    const point = typeof character === "string" ? character.codePointAt(0) : undefined;
    if (point === undefined || String.fromCodePoint(point) !== character || isSurrogate(point))
      throw new Error("not one character");
    return point < FIRST_SURROGATE ? point : point - SURROGATES;
  },
);

/** Texts of any characters, with those that programs trip over, such as `__proto__`. */
export const anyText = (lengths: { readonly minLength?: number; readonly maxLength?: number } = {}) =>
  fc.string({ unit: anyCharacter, ...lengths });
