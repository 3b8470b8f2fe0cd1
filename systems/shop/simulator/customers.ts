import { mix, pick, randomNumbers } from "../../../core/numbers/random.ts";
import { categories, type Region, regions } from "./catalogue.ts";

/** Who buys, and when. */

const customersOfShare = 400;
const devices = [
  { name: "phone", share: 60 },
  { name: "desktop", share: 32 },
  { name: "tablet", share: 8 },
] as const;

export interface Customer {
  readonly id: string;
  readonly region: Region;
  readonly device: (typeof devices)[number]["name"];
  /** Where this customer looks first. */
  readonly favourite: string;
  /** How likely a visit ends in an order. */
  readonly resolve: number;
  /** How many products a visit looks at, on average. */
  readonly patience: number;
}

/** Some customer of a region; a few come often, most seldom. A customer's habits are always the same. */
export function customerOf(region: Region, chance: number): Customer {
  const number = Math.floor(chance ** 2 * customersOfShare * region.share);
  const random = randomNumbers(mix(number + 1), mix(region.share));
  return {
    id: `${region.name}-${number}`,
    region,
    device: pick(devices, random()).name,
    favourite: pick(categories, random()).name,
    resolve: 0.1 + 0.2 * random(),
    patience: 2 + 4 * random(),
  };
}

/** How busy a shop is at each hour of its customers' day, before it is scaled to a mean of 1. */
const day = [3, 2, 1, 1, 1, 2, 4, 8, 11, 13, 14, 15, 17, 14, 13, 13, 14, 16, 19, 22, 23, 20, 13, 6];
const mean = day.reduce((sum, busy) => sum + busy, 0) / day.length;
const hourMs = 3_600_000;

/** How busy the customers of a region are at that moment, compared with their day's mean. */
export function rhythm({ zone }: Region, timeMs: number): number {
  const hour = localHour(zone, Math.floor(timeMs / hourMs));
  const within = (timeMs % hourMs) / hourMs;
  const at = (index: number) => day[index % day.length] ?? mean;
  return (at(hour) * (1 - within) + at(hour + 1) * within) / mean;
}

/** How often somebody visits: the regions' shares at this moment. Their sum is 1 on average over a day. */
export function visitorsAt(timeMs: number): { readonly region: Region; readonly share: number }[] {
  const total = regions.reduce((sum, { share }) => sum + share, 0);
  return regions.map((region) => ({ region, share: (region.share / total) * rhythm(region, timeMs) }));
}

const clocks = new Map<string, Intl.DateTimeFormat>();
const hours = new Map<string, number>();

/** The hour of the day that a zone's clock shows in that hour since 1970: asked once an hour, for it takes its time. */
function localHour(zone: string, hour: number): number {
  const key = `${zone} ${hour}`;
  const known = hours.get(key);
  if (known !== undefined) return known;
  const clock =
    clocks.get(zone) ?? new Intl.DateTimeFormat("en", { timeZone: zone, hour: "numeric", hourCycle: "h23" });
  clocks.set(zone, clock);
  if (hours.size > 1_000) hours.clear();
  const found = Number(clock.format(hour * hourMs));
  hours.set(key, found);
  return found;
}
