import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { unwatched } from "../stack/process/work.ts";
import { cacheFolder } from "../stack/programs/cache.ts";
import { findChromium } from "../stack/programs/chromium.ts";

export async function launchBrowser(): Promise<Browser> {
  const executablePath = await findChromium(cacheFolder(), unwatched);
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** A page in a browser of its own. */
export interface OpenPage {
  readonly page: Page;
  /** What the browser complained about: errors of scripts, and what is written to its console as an error. */
  readonly complaints: string[];
  close(): Promise<void>;
}

export async function openPage(options: BrowserContextOptions = {}): Promise<OpenPage> {
  const browser = await launchBrowser();
  const page = await browser.newPage({ locale: "en-GB", ...options });
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  return { page, complaints, close: () => browser.close() };
}
