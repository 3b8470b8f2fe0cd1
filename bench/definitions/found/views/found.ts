import { count, max, sql, sum, view } from "tideline";
import { earthquake } from "../schemas/earthquake.ts";
import { match } from "../schemas/match.ts";

export const quakesByNetwork = view("quakes-by-network", {
  stream: earthquake,
  by: { net: sql`net` },
  every: "1 hour",
  measures: { quakes: count(), significance: sum(sql`sig`), largest: max(sql`sig`) },
});

export const quakesByPlace = view("quakes-by-place", {
  stream: earthquake,
  by: { place: sql`place` },
  every: "1 day",
  measures: { quakes: count() },
});

export const goalsByDivision = view("goals-by-division", {
  stream: match,
  by: { division: sql`division` },
  every: "1 day",
  measures: { matches: count(), goals: sum(sql`home_score + away_score`) },
});

export const goalsByTeam = view("goals-by-team", {
  stream: match,
  by: { team: sql`home_team` },
  every: "1 day",
  measures: { matches: count(), goals: sum(sql`home_score`) },
});
