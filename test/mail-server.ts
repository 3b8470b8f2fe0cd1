import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { SMTPServer } from "smtp-server";

/** A mail server on loopback that takes everything. */
export interface MailServer {
  readonly url: string;
  /** The mails that it took, in their order, with folded lines joined (RFC 2045, 6.7). */
  readonly mails: readonly string[];
  close(): Promise<void>;
}

export async function openMailServer(): Promise<MailServer> {
  const mails: string[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    onData: (stream, _session, done) =>
      void text(stream).then((mail) => {
        mails.push(mail.replaceAll("=\r\n", ""));
        done();
      }),
  });
  server.listen(0, "127.0.0.1");
  await once(server.server, "listening");
  return {
    url: `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`,
    mails,
    close: () => new Promise<void>((done) => server.close(done)),
  };
}

/** A header of a mail, which has one line; undefined when it has none. */
export function header(mail: string, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)$`, "im").exec(mail)?.[1]?.trim();
}
