import { fork } from 'node:child_process';
import { once } from 'node:events';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';

/** A process that answers questions, one at a time. */
export interface Helper<Question, Answer> {
  /** @throws StartupError when the process ends before it has answered */
  ask(question: Question): Promise<Answer>;
  stop(): Promise<void>;
}

/** Starts a file that calls `answerParent`, in a process of its own so that it takes no time from another. */
export function startHelper<Question extends object, Answer>(url: URL): Helper<Question, Answer> {
  // Takes over the options of this process, and tsx among them.
  const child = fork(url);
  const exited = once(child, 'exit');
  return {
    async ask(question) {
      const ended = exited.then(() => {
        throw new StartupError(`The run was cut short: ${url.pathname.split('/').at(-1)} has ended.`);
      });
      const answered = once(child, 'message');
      if (child.connected) child.send(question);
      const [answer] = await Promise.race([answered, ended]);
      return answer as Answer;
    },
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** The other side of `startHelper`. The process ends with its parent. */
export function answerParent<Question, Answer>(answer: (question: Question) => Promise<Answer>): void {
  process.on('message', async (question: Question) => {
    process.send?.(await answer(question));
  });
  process.on('disconnect', () => process.exit());
  // Ctrl-C reaches every process of the terminal; the parent ends its helpers itself.
  process.on('SIGINT', () => undefined);
}
