import type { ViewRequest } from "./request.ts";

/** A query that was asked before: its parameters, read once, and its newest answer. */
export interface KnownQuestion<Options, Answered> {
  readonly asked: ViewRequest<Options>;
  answered: Answered | null;
  /** The size of the answer, in characters. */
  weight: number;
}

const MAX_QUESTIONS = 2_000;
const MAX_WEIGHT = 32_000_000;

/**
 * Caches queries by their URL, because dashboards repeat them. The least recently used is dropped first. The parsed
 * query never changes. The cached answer may be stale: callers check it.
 */
export class KnownQuestions<Options, Answered> {
  readonly #questions = new Map<string, KnownQuestion<Options, Answered>>();
  #weight = 0;

  get(url: string): KnownQuestion<Options, Answered> | undefined {
    const held = this.#questions.get(url);
    if (held === undefined) return undefined;
    this.#questions.delete(url);
    this.#questions.set(url, held);
    return held;
  }

  add(url: string, asked: ViewRequest<Options>): KnownQuestion<Options, Answered> {
    this.#drop(url);
    const question = { asked, answered: null, weight: url.length };
    this.#questions.set(url, question);
    this.#weight += question.weight;
    this.#shrink(url);
    return question;
  }

  /** Stores an answer, if there is space for it. */
  answer(url: string, answered: Answered, weight: number): void {
    const question = this.#questions.get(url);
    if (question === undefined || weight > MAX_WEIGHT / 4) return;
    this.#weight += weight - question.weight;
    question.answered = answered;
    question.weight = weight;
    this.#shrink(url);
  }

  #shrink(kept: string): void {
    for (const url of this.#questions.keys()) {
      if (this.#questions.size <= MAX_QUESTIONS && this.#weight <= MAX_WEIGHT) return;
      if (url !== kept) this.#drop(url);
    }
  }

  #drop(url: string): void {
    this.#weight -= this.#questions.get(url)?.weight ?? 0;
    this.#questions.delete(url);
  }
}
