import type { NestExpressApplication } from '@nestjs/platform-express';
import { NEED, type Need } from '#permission';

/** A route as the router knows it. */
export interface Route {
  /** Upper case; GET answers HEAD too. */
  readonly method: string;
  /** With its parameters as they are declared: `/api/hxo/status/:plan_id`. */
  readonly path: string;
  /** Undefined when the handler declares none: nobody may call it then. */
  readonly need: Need | undefined;
  matches(path: string): boolean;
}

/** The router's own matcher, which its type declarations leave out. */
interface Matching {
  match(path: string): unknown;
}

/** All routes of an application, read from its router after it was initialised, so that none can be forgotten. */
export function routesOf(app: NestExpressApplication): Route[] {
  return app
    .getHttpAdapter()
    .getInstance()
    .router.stack.flatMap((layer) => {
      const { route } = layer;
      if (route === undefined) return [];
      return route.stack.map((handler): Route => ({
        method: handler.method.toUpperCase(),
        path: route.path,
        // Nest copies the metadata of a controller's method to the function that it gives to the router.
        need: Reflect.getMetadata(NEED, handler.handle) as Need | undefined,
        matches: (path) => Boolean((layer as unknown as Matching).match(path)),
      }));
    });
}
