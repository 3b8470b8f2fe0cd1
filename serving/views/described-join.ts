import type { Joined } from "../../core/definition/joined.ts";
import type { JoinedSource } from "../../core/query/tables/joined-sql.ts";
import type { JoinedColumn } from "../../store/definitions/joined-columns.ts";
import type { DescribedView } from "./served-views.ts";

/** A joined table, and its tables as they are served now. */
export interface DescribedJoin {
  readonly definition: Joined;
  readonly key: readonly string[];
  /** By the name that the definition has for it. */
  readonly tables: ReadonlyMap<string, DescribedView>;
  /** What its expressions read of them, and no more. */
  readonly source: JoinedSource;
  readonly columns: ReadonlyMap<string, JoinedColumn>;
}
