import { totalmem } from 'node:os';
import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * Registers metrics of the Node.js process that prom-client lacks. The time of the event loop follows the OpenTelemetry semantic
 * conventions.
 */
export function registerRuntimeMetrics(registry: Registry): void {
  const registers = [registry];
  let last = performance.eventLoopUtilization();
  new Counter({
    name: 'nodejs_eventloop_time_seconds_total',
    help: 'Seconds that the event loop spent running code (active) and waiting for events (idle).',
    labelNames: ['nodejs_eventloop_state'],
    registers,
    collect() {
      const current = performance.eventLoopUtilization();
      this.inc({ nodejs_eventloop_state: 'active' }, Math.max(0, current.active - last.active) / 1000);
      this.inc({ nodejs_eventloop_state: 'idle' }, Math.max(0, current.idle - last.idle) / 1000);
      last = current;
    },
  });
  new Gauge({
    name: 'nodejs_heap_size_limit_bytes',
    help: 'Maximum size of the V8 heap in bytes.',
    registers,
    collect() {
      this.set(getHeapStatistics().heap_size_limit);
    },
  });
  new Gauge({
    name: 'process_memory_limit_bytes',
    help: 'Memory limit of the process, which its container sets, in bytes; absent without a limit.',
    registers,
    collect() {
      const limit = memoryLimit();
      if (limit === undefined) this.remove();
      else this.set(limit);
    },
  });
}

/** Returns the memory limit of the control group. Without a limit, the kernel reports none or one above the machine's memory. */
function memoryLimit(): number | undefined {
  const limit = process.constrainedMemory() as number | undefined;
  return limit !== undefined && limit > 0 && limit < totalmem() ? limit : undefined;
}
