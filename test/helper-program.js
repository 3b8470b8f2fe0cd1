// What a test's helper is: a server that tells what it was asked. It answers /held when it gets SIGUSR2.
import { createServer } from "node:http";

const held = [];
process.on("disconnect", () => process.exit());
process.on("SIGUSR2", () => {
  for (const answer of held.splice(0)) answer();
});
const server = createServer((request, response) => {
  const { method, url, headers } = request;
  if (headers["if-none-match"] === '"same"') return response.writeHead(304, { etag: '"same"' }).end();
  if (headers.authorization !== "Bearer of-the-helper") return response.writeHead(401).end();
  const body = JSON.stringify({ pid: process.pid, method, url, accept: headers.accept ?? null });
  const answer = () =>
    response.writeHead(200, { "content-type": "application/json", "tideline-truncated": "true" }).end(body);
  if (url.startsWith("/views/endless")) response.writeHead(200).write("begun");
  else if (url.startsWith("/held")) held.push(answer);
  else answer();
});
process.on("message", () => server.close(() => process.exit()));
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port, secret: "of-the-helper" }));
