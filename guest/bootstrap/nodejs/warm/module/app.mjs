// What the bootstrap loads and runs before the snapshot: an ES module.
import { readFile } from 'fs/promises';
export const read = readFile;
export const handler = async (event, context) => {
  await new Promise((resolve) => setTimeout(resolve, 1));
  return { n: event.n, left: context.getRemainingTimeInMillis(), request: context.awsRequestId };
};
