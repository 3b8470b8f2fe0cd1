/** What was refused for good: the message says by whom. */
export class Refused extends Error {
  override readonly name = "Refused";
}
