/** The sources of containers, as tests write them. */

/** A container made from an image. */
export function imageSource(value: string) {
  return { case: "image" as const, value };
}
