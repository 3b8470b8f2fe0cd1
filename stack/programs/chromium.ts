import type { Work } from "../process/work.ts";
import { canInstallPackages, findProgram, installPackages, serverMissing } from "./programs.ts";

/** The names of the program on different systems. */
const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

async function installed(): Promise<string | undefined> {
  for (const name of names) {
    const found = await findProgram(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Returns the path of a Chromium for browser tests. Installs it if that needs no permission. Throws SERVER_MISSING. */
export async function findChromium(cacheDir: string, work: Work): Promise<string> {
  const found = await installed();
  if (found !== undefined) return found;
  if (await canInstallPackages()) {
    await installPackages(cacheDir, ["chromium"], work);
    const fresh = await installed();
    if (fresh !== undefined) return fresh;
  }
  const packages = {
    "apt-get": "chromium",
    brew: "--cask chromium",
    dnf: "chromium",
    apk: "chromium",
    pacman: "chromium",
  };
  throw await serverMissing("Chromium", packages, "PATH");
}
