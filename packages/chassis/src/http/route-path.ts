/** A path with placeholders as contracts and tables have them, `/things/{id}`, in the form that routers take: `/things/:id`. */
export function routerPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}
