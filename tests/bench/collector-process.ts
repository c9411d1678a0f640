import { openHttpServer } from '../../packages/chassis/testing/http-server.ts';
import { serveParent } from './worker-process.ts';

const collector = await openHttpServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200).end());
});
serveParent(async () => ({ url: collector.url }));
