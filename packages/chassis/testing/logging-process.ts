import { createLogger } from '../src/logging/logger.ts';

/** A process for tests of standard output. The first argument selects what it does after it has created its logger. */
const logger = createLogger({ service: 'test', format: 'json' });

switch (process.argv[2]) {
  case 'exit':
    for (let index = 0; index < 2000; index += 1) logger.info(String(index));
    process.exit(3);
    break;
  case 'fail':
    logger.info('before');
    setImmediate(() => {
      throw new Error('uncaught');
    });
    break;
  default:
    logger.info('here');
    process.stdin.resume();
}
