// A minimal service for tests. PORT is its port; MODE selects a fault.
import { createServer } from 'node:http';

const { PORT, MODE, NAME } = process.env;

if (MODE === 'dies-at-start') {
  console.error('no database to be had');
  process.exit(78);
}
if (MODE === 'ignores-sigterm') process.on('SIGTERM', () => console.log('not yet'));
else {
  process.once('SIGTERM', () => {
    console.log(`${NAME} stopping`);
    process.exit(0);
  });
}

createServer((request, response) => {
  if (request.url === '/die') process.exit(3);
  response.end(String(process.pid));
}).listen(Number(PORT), '127.0.0.1', () => console.log(`${NAME} listening`));
