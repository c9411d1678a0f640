import { withTimeout } from '../with-timeout.ts';
import type { EndedSpan, SpanEncoder } from './ended-span.ts';
import type { DropReason } from './tracing-metrics.ts';

export interface SpanQueueOptions {
  readonly encoder: SpanEncoder;
  /** Exports a request of the encoder. */
  readonly send: (request: Uint8Array) => Promise<void>;
  /** Milliseconds after which an export counts as failed. */
  readonly sendTimeoutMs: number;
  /** Maximum number of spans that wait for export. */
  readonly maxQueued: number;
  /** Maximum milliseconds between two exports. */
  readonly delayMs: number;
  /** Called with the number of exported spans. */
  readonly onExported: (count: number) => void;
  /** Called with the number of dropped spans and, after a failed export, its error. */
  readonly onDropped: (reason: DropReason, count: number, error?: Error) => void;
}

/** Spans that wait for export. One export runs at a time. */
export interface SpanQueue {
  /** Number of spans that are not exported yet. */
  readonly pending: number;
  /** Adds a span; drops and counts it if the queue is full. */
  add(span: EndedSpan): void;
  /** Exports all waiting spans. */
  flush(): Promise<void>;
}

/** Maximum number of spans in an export, the default of OTEL_BSP_MAX_EXPORT_BATCH_SIZE. */
const maxBatch = 512;

/** An encoded request. */
interface Batch {
  readonly request: Uint8Array;
  /** Number of its spans. */
  readonly count: number;
}

export function createSpanQueue({
  encoder,
  send,
  sendTimeoutMs,
  maxQueued,
  delayMs,
  onExported,
  onDropped,
}: SpanQueueOptions): SpanQueue {
  const batchSize = Math.min(maxBatch, maxQueued);
  const batches: Batch[] = [];
  /** Spans in the encoder. */
  let encoded = 0;
  /** Spans in the encoder and in batches. */
  let queued = 0;
  let inFlight = 0;
  let timer: NodeJS.Timeout | undefined;
  let exporting: Promise<void> | undefined;

  function closeBatch(): void {
    if (encoded === 0) return;
    batches.push({ request: encoder.take(), count: encoded });
    encoded = 0;
  }

  function startExport(): Promise<void> {
    exporting ??= exportBatches().finally(() => {
      exporting = undefined;
    });
    return exporting;
  }

  async function exportBatches(): Promise<void> {
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
      const { request, count } = batch;
      queued -= count;
      inFlight += count;
      try {
        await withTimeout(send(request), sendTimeoutMs, () => {
          throw new Error('Request timed out');
        });
        onExported(count);
      } catch (error) {
        onDropped('export_failed', count, error as Error);
      } finally {
        inFlight -= count;
      }
    }
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    closeBatch();
    return startExport();
  }

  return {
    get pending() {
      return queued + inFlight;
    },
    add(span) {
      if (queued >= maxQueued) {
        onDropped('queue_full', 1);
        return;
      }
      encoder.add(span);
      encoded += 1;
      queued += 1;
      if (encoded >= batchSize) {
        closeBatch();
        void startExport();
      } else timer ??= setTimeout(() => void flush(), delayMs).unref();
    },
    flush,
  };
}
