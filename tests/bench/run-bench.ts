import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { compare } from './compare.ts';
import { meetHostileClients } from './hostile-load.ts';
import { shedOverload } from './overload.ts';
import { measurePolicies } from './policies.ts';
import { soak } from './soak.ts';
import { openStage, type Stage } from './stage.ts';

/** What can be asked for, and what does it. */
const programs: Readonly<Record<string, (stage: Stage) => Promise<number>>> = {
  '': (stage) => compare(stage, 'normal'),
  '--quick': (stage) => compare(stage, 'quick'),
  '--soak': soak,
  '--policies': measurePolicies,
  '--overload': shedOverload,
  '--hostile-load': meetHostileClients,
};

/**
 * `npm run bench`: the gateway beside other proxies; with `-- --quick` shorter, with `-- --soak` by itself for five minutes, with
 * `-- --policies` what each policy costs, with `-- --overload` what becomes of three times what can be done, with
 * `-- --hostile-load` what becomes of a good load beside thousands of hostile clients. Exit code 1 says that the figures cannot be
 * trusted, that memory grew in a soak, that too little was answered under overload, or that a good request failed beside hostile
 * clients; a missed goal of the comparison is only told.
 */
await runCommand(async () => {
  const [option = '', ...more] = process.argv.slice(2);
  const program = more.length === 0 && Object.hasOwn(programs, option) ? programs[option] : undefined;
  if (program === undefined) {
    const options = Object.keys(programs).filter((name) => name !== '');
    throw new StartupError(`Usage: npm run bench, or npm run bench -- ${options.join('|')}`, 78);
  }
  const stage = await openStage();
  try {
    return await program(stage);
  } finally {
    await stage.close();
  }
});
