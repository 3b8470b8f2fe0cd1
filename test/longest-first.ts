import { relative } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { LONG, MODULES, SYSTEM } from "./tiers.ts";

const order = [...SYSTEM, ...LONG, ...MODULES];

/** Begins with the files that take longest, so that at the end no file runs alone for minutes. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = order.indexOf(relative(this.ctx.config.root, moduleId));
      return index === -1 ? order.length : index;
    };
    const group = ({ project }: TestSpecification) => project.config.sequence.groupOrder;
    return files.toSorted((a, b) => group(a) - group(b) || rank(a) - rank(b) || (a.moduleId < b.moduleId ? -1 : 1));
  }
}
