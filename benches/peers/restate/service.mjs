// The workload as a Restate service: `steps` durable steps, one after the other, each of which gives back a number.

import http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";

// The SDK calls this, which Node.js has since version 22.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
};

const [port] = process.argv.slice(2);

const bench = restate.service({
  name: "bench",
  handlers: {
    run: async (context, input) => {
      for (let n = 0; n < input.steps; n++) {
        await context.run("echo", async () => ({ value: 0 }));
      }
      return { steps: input.steps };
    },
  },
});

// On the loopback only: the SDK's own `serve` listens on every interface.
const server = http2.createServer(restate.createEndpointHandler({ services: [bench] }));
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
