// The texts of the page, in Chinese and English. The server's messages are shown as they are.

import { recall, remember } from "./storage.js";
import { ACCOUNT_TEXTS } from "./texts-account.js";

const TEXTS = {
  ...ACCOUNT_TEXTS,
  "sign-in": ["登录", "Sign in"],
  signInLead: ["你的名称、头像、密钥和密码保存在这台服务器上。", "Your name, picture, key and password are kept on this server."],
  toRegister: ["注册新账户", "Create an account"],
  toReset: ["忘记密码？", "Forgotten your password?"],
  toSignIn: ["返回登录", "Back to sign-in"],
  username: ["用户名", "User name"],
  usernameHint: ["登录时使用，之后不能更改。", "You sign in with it. It can’t be changed later."],
  password: ["密码", "Password"],
  stay: ["在这台设备上保持登录", "Stay signed in on this device"],
  register: ["注册账户", "Create account"],
  registerLead: ["需要注册密钥，请向管理员索取。", "You need the registration key. Ask the administrator for it."],
  showName: ["显示名称", "Display name"],
  showNameHint: ["别人看到的名字，任何文字都可以。", "The name that others see, in any script."],
  newShowName: ["新的显示名称", "New display name"],
  email: ["邮箱", "Email"],
  registrationKey: ["注册密钥", "Registration key"],
  registrationKeyHint: ["见 config.json：secret_key_required_for_account_registration。", "In config.json: secret_key_required_for_account_registration."],
  registrationClosed: ["注册已关闭", "Registration is closed"],
  registrationClosedWhy: ["这台服务器目前不接受新账户。管理员可在 config.json 中打开：registration_function_status。", "This server takes no new accounts. The administrator can change that in config.json: registration_function_status."],
  reset: ["重置密码", "Reset password"],
  resetLead: ["需要重置密钥，请向管理员索取。所有已登录的设备都会退出。", "You need the reset key. Ask the administrator for it. Every device will be signed out."],
  resetKey: ["重置密钥", "Reset key"],
  resetKeyHint: ["见 config.json：forget_password_key。", "In config.json: forget_password_key."],
  resetClosed: ["密码重置已关闭", "Password reset is closed"],
  resetClosedWhy: ["请联系管理员。管理员可在 config.json 中打开：forgot_password_function_status。", "Ask the administrator, who can change that in config.json: forgot_password_function_status."],
  onward: ["登录后将前往 {0}", "to continue to {0}"],
  going: ["已登录，正在前往 {0}…", "You are signed in. Going to {0}…"],
  continueTo: ["前往 {0}", "Continue to {0}"],
  signInOnce: ["请再登录一次，这样 {0} 才知道你是谁。", "Please sign in once more, so that {0} knows who you are."],
  signInAgain: ["重新登录", "Sign in again"],
  cookieBlocked: ["你已登录，但浏览器没有保存 {0} 需要的 Cookie。请允许 {1} 使用 Cookie，然后重新登录。", "You are signed in here, but your browser did not keep the cookie that {0} needs. Allow cookies for {1}, then sign in again."],
  unchecked: ["你已登录，但无法确认 {0} 是否会放行。", "You are signed in, but {0} may not know it."],
  sentBack: ["你已登录，但 {0} 又让你回到了这里。如果再次出现，请管理员检查它前面的代理。", "You are signed in, but {0} sent you back here. If it does so again, ask the administrator to check its proxy."],
  returnRefused: ["要返回的地址不属于这里，登录后会留在本页。", "The address to return to does not belong here. You will stay on this page."],
  pageElsewhere: ["本页的地址是 {0}，但共用登录只在 {1} 及其子域名下有效。请改用那里的地址打开本页。", "This page was opened at {0}, but the shared sign-in works only at {1} and below. Open it there."],
  linkDead: ["链接已失效", "This link no longer works"],
  linkDeadWhy: ["链接已被使用、撤销或取代，或者已过期。请向管理员索取新的链接。", "The link was used, withdrawn or replaced, or it has expired. Ask the administrator for a new one."],
  useKey: ["改用密钥", "Use a key instead"],
  linkGroups: ["你将加入用户组：{0}。", "Your groups: {0}."],
  linkUntil: ["链接有效期至 {0:time}。", "The link is good until {0:time}."],
  keyFromLink: ["已从链接填入。", "Filled in from your link."],
  inviteLinkLead: ["你受邀在这里注册账户。", "You are invited to create an account here."],
  resetLinkLead: ["这个链接用来为 {0} 设置新密码。请填写该账户的邮箱。所有已登录的设备都会退出。", "This link sets a new password for {0}. Enter the account’s email. Every device will be signed out."],
  newPassword: ["新密码", "New password"],
  setPassword: ["设置新密码", "Set new password"],
  number: ["编号", "Account number"],
  account: ["账户", "Account"],
  signOut: ["退出登录", "Sign out"],
  signOutEverywhere: ["退出所有设备", "Sign out everywhere"],
  picture: ["头像", "Picture"],
  pictureHint: ["选择图片、拖到这里或直接粘贴，然后裁剪成正方形。动图只保留一帧。", "Choose, drop or paste a picture, then crop it to a square. A moving one stands still."],
  choose: ["选择图片…", "Choose a picture…"],
  yourPicture: ["当前头像", "Your picture"],
  save: ["保存", "Save"],
  freshKey: ["更换密钥", "Replace the key"],
  freshKeyWhy: ["旧密钥会立刻失效，使用它的程序需要新密钥。", "The old key ends at once. Programs that use it need the new one."],
  freshKeyYes: ["更换", "Replace"],
  cancel: ["取消", "Cancel"],
  oldPassword: ["当前密码", "Current password"],
  passwordHint: ["修改后需要在所有设备上重新登录。", "You will be signed out everywhere and sign in anew."],
  changePassword: ["修改密码", "Change password"],
  show: ["显示", "Show"],
  hide: ["隐藏", "Hide"],
  captcha: ["验证码", "Characters in the picture"],
  captchaAgain: ["六个字符的图片，按下换一张", "Picture of six characters; press for another one"],
  captchaHint: ["看不清？点图片换一张。", "Hard to read? Click the picture for another one."],
  captchaNone: ["没有取到验证码，点图片的位置重试。", "No picture could be fetched. Click its place to try again."],
  crop: ["裁剪头像", "Crop your picture"],
  stage: ["裁剪区域", "The picture behind its square frame"],
  cropHint: ["拖动图片或用方向键移动，用滑块、滚轮或 + 和 − 缩放。", "Drag it or use the arrow keys; zoom with the slider, the wheel, or + and −."],
  zoom: ["缩放", "Zoom"],
  upload: ["使用这张图片", "Use this picture"],
  progress: ["上传进度", "Upload"],
  uploading: ["正在上传 {0}（{1} × {1} 像素）…", "Sending {0} ({1} × {1} pixels)…"],
  pictureDone: ["头像已更换。", "This is your picture now."],
  noPicture: ["浏览器无法读取这个文件，它不是图片或者已损坏。", "Your browser can’t read this file: it is not a picture, or damaged."],
  noPictureFits: ["这张图片无法变成大于 {0} 且不超过 {1} 的文件。", "This picture can’t be made a file of more than {0} and at most {1}."],
  absent: ["请填写。", "Please fill this in."],
  tooLong: ["最多 {0} 个字符，现在有 {1} 个。", "At most {0} characters; this has {1}."],
  tooShort: ["至少 {0} 个字符。", "At least {0} characters."],
  badEmail: ["这不像是邮箱地址。", "This does not look like an email address."],
  offline: ["连接不上服务器，填写的内容还在。", "The server can’t be reached. What you typed is still here."],
  retry: ["重试", "Try again"],
  wait: ["请等待 {0} 秒", "Wait {0} s"],
  waited: ["现在可以再试了。", "You can try again now."],
  working: ["请稍候…", "One moment…"],
  expired: ["登录已失效，请重新登录。", "Your session has ended. Please sign in again."],
  signedOut: ["你已退出登录。", "You are signed out."],
  signedOutElsewhere: ["你已在另一个标签页退出登录。", "You signed out in another tab."],
  registered: ["账户已创建，现在可以登录。", "Your account is there. You can sign in now."],
  passwordChanged: ["请用新密码登录。", "Sign in with the new password."],
};

// Hints for answers, by interface and code.
const WRONG = ["请看新的图片，密码也要重新输入。", "Here is a new picture. Please type the password again, too."];
const FAILED = ["服务器出错了，原因在它的日志里。", "The server failed. Its log says why."];
const HINTS = {
  "login 503": WRONG,
  "login 604": ["请重新输入密码。", "The user name or the password is not right."],
  "registered 403": ["注册密钥不对。", "The registration key is not right."],
  "registered 404": FAILED,
  "registered 503": TEXTS.registrationClosed,
  "registered 504": WRONG,
  "registered 603": FAILED,
  "registered 603 or common": ["密码太容易猜。", "This password is too easy to guess."],
  "registered 604": ["请换一个用户名或邮箱。", "Somebody has this user name or this email."],
  "update_password 404": ["当前密码不对。", "The current password is not right."],
  "update_password 404 or common": ["当前密码不对，或新密码太容易猜。", "The current password is not right, or the new one is too easy to guess."],
  "update_password 503": WRONG,
  "forget_password 403": TEXTS.resetClosed,
  "forget_password 404": ["重置密钥不对。", "The reset key is not right."],
  "forget_password 501": ["用户名和邮箱不符。", "User name and email are not of one account."],
  "forget_password 501 or common": ["用户名和邮箱不符，或密码太容易猜。", "User name and email are not of one account, or the password is too easy to guess."],
  "forget_password 503": WRONG,
  "upload_avatar 169": ["服务器没有接受这张图片。", "The server did not take this picture."],
  "HTTP 429": ["请求太频繁，请等按钮恢复。", "That was too often. Please wait for the button."],
  "HTTP 500": FAILED,
  "HTTP 503": ["服务器正忙，请稍后再试。", "The server is busy. Please try again soon."],
};

const LANGUAGES = ["zh-CN", "en"];
const REMEMBERED = "accountd.language";

let language = chosen();

function chosen() {
  const wishes = [recall("localStorage", REMEMBERED), ...navigator.languages];
  const first = wishes.map((wish) => wish?.slice(0, 2).toLowerCase()).find((wish) => wish === "zh" || wish === "en");
  return first === "zh" ? 0 : 1;
}

/// A text of the page in the current language.
export function t(name, ...values) {
  const text = (TEXTS[name] ?? HINTS[name])[language];
  return text.replace(/\{(\d)(:time)?\}/g, (_, nth, isTime) => (isTime ? time(values[nth]) : values[nth]));
}

/// Whether there is a hint for this answer.
export const hasHint = (name) => name in HINTS;

/// Shows a text in an element. It is translated if the language changes.
export function say(element, name, ...values) {
  element.dataset.t = name;
  element.dataset.values = JSON.stringify(values);
  element.textContent = t(name, ...values);
}

/// A new element that shows a text.
export function make(tag, name, ...values) {
  const element = document.createElement(tag);
  say(element, name, ...values);
  return element;
}

/// Fills in all texts below an element.
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t, ...JSON.parse(element.dataset.values ?? "[]"));
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.ariaLabel = t(element.dataset.label);
  }
}

/// Unix seconds as a readable text.
const time = (seconds) =>
  new Date(seconds * 1000).toLocaleString(LANGUAGES[language], { dateStyle: "long", timeStyle: "short" });

/// A size in bytes as a readable text.
export const size = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;

/// Connects the button that switches the language. `after` is called when the page is translated.
export function languages(button, after) {
  const show = () => {
    document.documentElement.lang = LANGUAGES[language];
    button.lang = LANGUAGES[1 - language];
    button.textContent = ["English", "中文"][language];
    translate(document);
    after();
  };
  button.addEventListener("click", () => {
    language = 1 - language;
    remember("localStorage", REMEMBERED, LANGUAGES[language]);
    show();
  });
  show();
}
