/** Converts an OpenAPI path template such as `/things/{id}` to the syntax of Express routers: `/things/:id`. */
export function routerPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}
