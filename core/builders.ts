/** Everything that a definition is made of: what files of streams and of views import as `tideline`. */
export { decimal, flag, instant, integer, list, oneOf, optional, text, withDefault } from "./fields.ts";
export { avg } from "./measures/avg.ts";
export { count } from "./measures/count.ts";
export { distinct } from "./measures/distinct.ts";
export { max, min } from "./measures/extremes.ts";
export { histogram } from "./measures/histogram.ts";
export { first, last } from "./measures/picks.ts";
export { quantile } from "./measures/quantile.ts";
export { ratio } from "./measures/ratio.ts";
export { sum } from "./measures/sum.ts";
export { topK } from "./measures/top-k.ts";
export { sql } from "./sql.ts";
export { type EventOf, stream } from "./stream.ts";
export { view } from "./view.ts";
