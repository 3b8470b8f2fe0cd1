import type { ApiAction, ApiKey } from "./api-key.ts";

/** The object of a request. A view or table is named with the stream that it reads. */
export type Subject =
  | { readonly kind: "view"; readonly view: string; readonly stream: string }
  | { readonly kind: "stream"; readonly stream: string }
  /** A joined table, whose rows have values of all of its tables. */
  | { readonly kind: "joined"; readonly tables: readonly Subject[] }
  /** Everything in the installation, and names that do not exist. */
  | { readonly kind: "all" };

/** Returns a view or table as a subject. */
export function subjectOf(view: { readonly name: string; readonly stream: { readonly name: string } }): Subject {
  return { kind: "view", view: view.name, stream: view.stream.name };
}

/** Returns a joined table as a subject. */
export function joinedSubject(joined: {
  readonly tables: Readonly<Record<string, Parameters<typeof subjectOf>[0]>>;
}): Subject {
  return { kind: "joined", tables: Object.values(joined.tables).map(subjectOf) };
}

/** Whether a key may do an action. */
export function allowsAction({ actions }: Pick<ApiKey, "actions">, action: ApiAction): boolean {
  return actions.includes(action);
}

/**
 * Whether a key's limits include a subject. A key for a stream is also for the views and tables that read it. A key for
 * a view is not for the view's stream, whose records contain more than the view shows. A joined table needs a key for
 * each of its tables.
 */
export function coversSubject({ only }: Pick<ApiKey, "only">, subject: Subject): boolean {
  if (only === null) return true;
  if (subject.kind === "all") return false;
  if (subject.kind === "joined")
    return subject.tables.length > 0 && subject.tables.every((table) => coversSubject({ only }, table));
  if (only.streams.includes(subject.stream)) return true;
  return subject.kind === "view" && only.views.includes(subject.view);
}
