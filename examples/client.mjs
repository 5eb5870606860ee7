// embeddb from Node.js, by the .proto files alone:
//   npm install @grpc/grpc-js @grpc/proto-loader
//   node examples/client.mjs 127.0.0.1:7080
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const protos = process.env.EMBEDDB_PROTOS ?? join(dirname(fileURLToPath(import.meta.url)), "..", "protos");
const definition = loader.loadSync(
  ["items", "search", "models", "collections"].map((name) => `embeddb_protos/v1/${name}.proto`),
  { includeDirs: [protos], keepCase: true, enums: String, defaults: true },
);
const { embeddb } = grpc.loadPackageDefinition(definition);

function connect(Service, address) {
  const client = new Service(address, grpc.credentials.createInsecure());
  // Every unary call as a function that returns a promise.
  return (method, request) => promisify(client[method].bind(client))(request);
}

function vector(numbers) {
  return { data: Buffer.from(Float32Array.from(numbers).buffer), dimension: numbers.length };
}

const address = process.argv[2] ?? "127.0.0.1:7080";
const models = connect(embeddb.v1.ModelService, address);
const collections = connect(embeddb.v1.CollectionService, address);
const items = connect(embeddb.v1.ItemService, address);
const search = connect(embeddb.v1.SearchService, address);

await models("RegisterModel", { name: "points", spec_json: JSON.stringify({ loader: "vectors", dimension: 2 }) });
await collections("CreateCollection", { name: "map", models: ["points"] });
const put = await items("PutItems", {
  collection: "map",
  items: [
    { id: "north", metadata_json: '{"degrees": 0}', features: { points: vector([0, 1]) } },
    { id: "east", metadata_json: '{"degrees": 90}', features: { points: vector([1, 0]) } },
  ],
});
console.log(put.results.map((result) => `${result.id} ${result.status}`).join(", "));
const found = await search("Search", {
  collection: "map",
  expressions: [{ terms: [{ item: "north" }, { weight: 0.5, vector: vector([1, 0]) }] }],
  include_operands: true,
});
for (const hit of found.results[0].hits.hits) console.log(hit.item.id, hit.score.toFixed(3));
try {
  await items("PutItems", { collection: "mpa" });
} catch (error) {
  console.log(grpc.status[error.code], error.details);
}
