import { join } from 'node:path';
import { writeClusterFiles } from '../../packages/chassis/src/database/cluster-files.ts';
import { acquireDataFolder } from '../../packages/chassis/src/database/data-folder.ts';
import { loadOnce } from '../../packages/chassis/src/database/load-once.ts';
import type { DatabaseSchema } from '../../packages/chassis/src/database/service-database.ts';
import { migratedTemplate } from '../../packages/chassis/testing/pglite-template.ts';
import { databaseSchema as orders } from '../../packages/order-service/src/database-schema.ts';
import { databaseSchema as users } from '../../packages/user-service/src/database-schema.ts';
import type { ServiceName } from '../../scripts/lib/services.ts';

const schemas = new Map<ServiceName, DatabaseSchema>([
  ['user-service', users],
  ['order-service', orders],
]);

/**
 * Writes the data folders that services have after their first start with the demo data, before they send an event. A first start takes
 * twice the CPU time of a later one.
 */
export async function writeDemoFolders(dataDir: string): Promise<void> {
  for (const [service, { migrations, demoData }] of schemas) {
    const cluster = await migratedTemplate(migrations, async (database) => {
      if (demoData !== undefined) await loadOnce(database, `${service} demo data`, demoData);
    });
    const folder = await acquireDataFolder(join(dataDir, service));
    try {
      await folder.openFiles(async (path) => writeClusterFiles(cluster, path));
    } finally {
      await folder.release();
    }
  }
}
