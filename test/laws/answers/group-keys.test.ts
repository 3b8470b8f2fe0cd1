import fc from "fast-check";
import { expect, test } from "vitest";
import { type GroupValue, groupKey, groupKeyWith, groupKeyWithout } from "../../../core/state/cells.ts";
import { below, type GroupTree } from "../../../core/state/group-tree.ts";
import { anyText } from "../../fixtures/events/any-text.ts";

const value = fc.oneof(anyText(), fc.maxSafeInteger(), fc.boolean(), fc.constant(null));
const group = fc.array<GroupValue>(value, { maxLength: 4 });

test("a group's key with one more value is the key of the longer group, and without it that of the shorter", () => {
  fc.assert(
    fc.property(group, value, (values, more) => {
      const [key, longer] = [groupKey(values), groupKey([...values, more])];
      expect(groupKeyWith(key, more)).toBe(longer);
      expect(groupKeyWithout(longer, more)).toBe(key);
    }),
  );
});

test("a tree tells groups apart exactly as their keys do", () => {
  const alike = fc.constantFrom<GroupValue>("", "1", 1, "true", true, "null", null, "[]", 0, false);
  fc.assert(
    fc.property(fc.array(fc.tuple(alike, alike)), (groups) => {
      const root: GroupTree<string> = { next: null, held: null };
      for (const one of groups) {
        const leaf = one.reduce<GroupTree<string>>(below, root);
        leaf.held ??= groupKey(one);
        expect(leaf.held).toBe(groupKey(one));
      }
    }),
  );
});
