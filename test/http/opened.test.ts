import { expect, it } from "vitest";
import { Opened } from "../../faults/deployment/opened.ts";

/** What a scenario of the fault harness opens. A source that stays open would keep the harness running for ever. */

function openedWith(fails: readonly string[]) {
  const closed: string[] = [];
  const opened = new Opened();
  const open = (name: string) =>
    opened.keep({
      close: async () => {
        closed.push(name);
        if (fails.includes(name)) throw new Error(`${name} cannot be closed`);
      },
    });
  for (const name of ["installation", "source", "second source"]) open(name);
  return { opened, closed };
}

it("closes all that a scenario has opened, the last one first, and each of them once", async () => {
  const { opened, closed } = openedWith([]);
  await opened.close();
  await opened.close();
  expect(closed).toEqual(["second source", "source", "installation"]);
});

it("closes the others when one cannot be closed, and says which one that was", async () => {
  const { opened, closed } = openedWith(["second source", "source"]);
  await expect(opened.close()).rejects.toThrow("second source cannot be closed");
  expect(closed).toEqual(["second source", "source", "installation"]);
});
