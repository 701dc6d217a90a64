/** How requests for approval are decided, to choose from. */

import type { Policy } from "../protocol";
import { pick } from "./pick";

const POLICIES: { policy: Policy; detail: string }[] = [
  { policy: "ask", detail: "Everything asks" },
  { policy: "auto_edit", detail: "Edits inside the worktree are allowed, all else asks" },
  { policy: "auto_all", detail: "Everything is allowed" },
  { policy: "deny", detail: "Everything is refused" },
];

/** Return the policy that the user picks; `now` is marked as the one that there is. */
export async function pickPolicy(now: Policy | null, placeHolder: string): Promise<Policy | undefined> {
  const items = POLICIES.map(({ policy, detail }) => ({
    label: policy,
    description: policy === now ? "now" : "",
    detail,
    value: policy,
  }));
  return pick(items, placeHolder);
}
