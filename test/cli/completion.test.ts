import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

/** What a shell offers for an argument of a command, of the system that has tables and rules. */
async function offered(...words: string[]): Promise<string[]> {
  const env = { ...process.env, TIDELINE_SYSTEM: "systems/patients" };
  const args = ["cli/tideline.js", "complete", "--", ...words, ""];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return stdout.split("\n").flatMap((line) => (line === "" || line.startsWith(":") ? [] : [line.trim()]));
}

test("every command that takes a view, table, stream or rule is completed with their names", async () => {
  const [table = [], restart = [], settle = []] = await Promise.all(
    [["table"], ["rules", "restart"], ["settle"]].map((words) => offered(...words)),
  );
  expect(table).toContain("alert-states");
  expect(restart).toEqual(["heart-rate"]);
  expect(settle).toEqual(expect.arrayContaining([...table, "heart-rates"]));
});
