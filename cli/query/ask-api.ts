import { separated } from "../../core/secrets.ts";
import type { Config } from "../setup/config.ts";
import { apiSilent, problemExitCode, problemText } from "./answer-text.ts";

/** Longer queries are sent in a body. They have positions of many partitions, or many keys. */
const MOST_IN_ADDRESS = 4_000;

/** Returns the API's answer as text. Returns null for a refusal; then the reason is printed and the exit code set. */
export async function askApi(url: URL, { apiKey }: Pick<Config, "apiKey">): Promise<string | null> {
  const { url: plain, headers } = separated(url, apiKey);
  const asked = new URL(plain);
  const isLong = asked.search.length > MOST_IN_ADDRESS;
  const body = new URLSearchParams(asked.search);
  if (isLong) asked.search = "";
  const response = await fetch(asked, isLong ? { method: "POST", headers, body } : { headers }).catch(
    (cause: unknown) => {
      throw apiSilent(url, cause);
    },
  );
  const text = await response.text();
  if (response.ok) return text;
  process.stderr.write(problemText(response.status, text));
  process.exitCode = problemExitCode(response.status);
  return null;
}
