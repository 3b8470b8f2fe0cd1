/** Everything that a definition is made of: what files of streams and of views import as `tideline`. */
export { alerts } from "../contract/alerts.ts";
export { decimal, flag, instant, integer, list, oneOf, optional, text, withDefault } from "../contract/fields.ts";
export { sql } from "../contract/sql.ts";
export { type EventOf, stream } from "../contract/stream.ts";
export { avg } from "../measures/kinds/avg.ts";
export { count } from "../measures/kinds/count.ts";
export { distinct } from "../measures/kinds/distinct.ts";
export { max, min } from "../measures/kinds/extremes.ts";
export { histogram } from "../measures/kinds/histogram.ts";
export { first, last } from "../measures/kinds/picks.ts";
export { quantile } from "../measures/kinds/quantile.ts";
export { ratio } from "../measures/kinds/ratio.ts";
export { sum } from "../measures/kinds/sum.ts";
export { topK } from "../measures/kinds/top-k.ts";
export { delivery, mail, slack, webhook } from "./delivery.ts";
export { rule } from "./rule.ts";
export { table } from "./table.ts";
export { view } from "./view.ts";
